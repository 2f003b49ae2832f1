"""The HTTP kit: dialects, routes, paging, authentication, parsing and rendering."""
