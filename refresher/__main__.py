"""`python -m refresher`."""

from refresher.cli.main import main

raise SystemExit(main())
