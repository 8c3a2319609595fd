"""Who may do what: users, roles in projects, rights."""
