"""HTTP: the app factory, problem details, middleware, bearer tokens, pages, health and the docs page."""
