"""What a real vault, instance and blob container are known to do, as questions that anybody can put to one."""
