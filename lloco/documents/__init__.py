"""Files and folders -> documents: one reader for each family of formats, each bounded, each naming what it left out."""
