"""What belongs together in a namespace: how traffic comes in, what runs it, where, and with which configuration and volumes."""
