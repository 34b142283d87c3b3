"""How sandboxes are isolated: today by Linux namespaces; another wall is another file here."""
