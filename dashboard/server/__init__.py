"""The web server: pages, JSON routes, headers."""
