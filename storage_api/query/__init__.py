"""From query parameters to SQL: selectors, JSON paths, conditions, cursors, result shapes."""
