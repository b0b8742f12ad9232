"""The page of scripts/app.py: `page` lays it out, of what the modules beside it give."""
