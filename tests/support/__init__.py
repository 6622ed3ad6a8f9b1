"""What tests are built with: a world that stands still, and a place with folders, ledger, sandbox and daemon."""
