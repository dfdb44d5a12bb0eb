"""Pages: one module and one router each, in the order of the navigation."""
