"""The Streamlit page of `roilab app`: models, uploads, results, downloads, laid out by `page`."""
