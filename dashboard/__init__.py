"""The dashboard: a Streamlit app over the run folders. It never imports torch."""
