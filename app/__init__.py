"""The Streamlit app: entry, HTTP routes and UI building blocks over `core`."""
