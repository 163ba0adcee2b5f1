"""Captions as lists of tags: parsing, counting, edits, files. Taggers write captions of pictures.

    tags           a caption's tags, and how tags are compared
    tag_counts     how many captions have each tag
    edits          declarative edits of captions, one file each
    taggers        models that caption pictures, one file each
    caption_files  which file has a picture's caption; writing it with a backup

Uses only the standard library; taggers import what they need when they are loaded.
"""
