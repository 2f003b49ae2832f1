"""Who may sign in, what they may do, and the audit trail of what they did."""
