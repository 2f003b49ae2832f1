"""Who may do what: sign-in, tokens, grants, audit and tenants."""
