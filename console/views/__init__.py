"""The pages, one module per subject; `console.urls` lists them."""
