"""How the admin site writes dates: on one line, so that columns sort to the eye."""
