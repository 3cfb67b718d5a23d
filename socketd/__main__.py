"""C{python -m socketd}: the C{socketd} command."""

from socketd.cli.main import main

raise SystemExit(main())
