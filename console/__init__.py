"""The web console: pages for people, over the same API that scripts use."""
