"""The shell around every page: who is signed in, and which pages there are for that role.

Knows: the order of things on the screen. Does not know: any page.
"""

from __future__ import annotations

import streamlit as st

from app import auth, navigation, shell

st.set_page_config(
    page_title="Lathe",
    page_icon=shell.MARK,
    layout="wide",
    menu_items={"About": "**Lathe**: the workbench for language models on your own machines."},
)
st.logo(shell.wordmark(), icon_image=shell.MARK)
st.html(shell.CSS)

actor = auth.find_actor()
if actor is None:
    shell.signed_out()
    st.stop()

sections = navigation.pages_for(actor)
page = st.navigation(sections, expanded=True)
if shell.starts_over():
    st.switch_page(sections[""][0])
shell.account_menu(actor)
page.run()
