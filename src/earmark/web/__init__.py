"""The browser's view of a project: pages, a JSON API and jobs, served by one process to this machine."""
