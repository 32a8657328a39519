"""Pictures referenced by a JSON body: data URIs, and URLs of allowed hosts."""
