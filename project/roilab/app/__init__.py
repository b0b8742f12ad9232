"""The page of roilab app: `page` lays it out, of what the modules beside it give."""
