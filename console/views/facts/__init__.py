"""What the summary of an object says, by what the object is for."""
