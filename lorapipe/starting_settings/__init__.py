"""Starting settings for a folder of pictures: what `lorapipe new` writes, and `lorapipe watch` uses for dropped folders.

`folder_facts` looks at the pictures and captions, without torch; `Wishes` is what nobody can see in them. `choices` decides
every setting with its reason (the training guide), `document` writes them as a pipeline with a comment on every line. The
same pictures and wishes give the same file.
"""
