"""What may be deleted in a namespace because nothing needs it."""
