"""Builds the site: the pages, the options, the manual pages and the API as one place."""
