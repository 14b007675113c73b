"""A ServiceNow instance, Key Vaults and a managed identity on loopback, for trying the product without a cloud.

The servers know nothing of the product. They speak the real protocols, verified TLS included; production code has
no branch and no setting for them.
"""

from sandbox.canary import CANARY_PREFIX
from sandbox.clock import SandboxClock
from sandbox.faults import Fault
from sandbox.personality import PERSONALITIES, Personality
from sandbox.running import Sandbox

__all__ = ["CANARY_PREFIX", "PERSONALITIES", "Fault", "Personality", "Sandbox", "SandboxClock"]
