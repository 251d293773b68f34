"""`python -m rcas_plugin.cli`: the `rcas` command."""

from rcas_plugin.cli import main

raise SystemExit(main())
