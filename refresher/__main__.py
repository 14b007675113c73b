"""`python -m refresher`."""

from refresher.cli import main

raise SystemExit(main())
