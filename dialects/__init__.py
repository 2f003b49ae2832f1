"""One module per published API document; each is a leaf that only `kubegale.urls` imports."""
