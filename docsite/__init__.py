"""The documentation's machinery: generated reference pages, checks of links, and the hooks of the site's generator."""
