"""What captions teach: how often tags occur, which occur together, which are misspelt, which captions are odd ones out.

    tag_index           which captions have which tags; frequencies, co-occurrence
    tag_spellings       tags that are one tag in two spellings, or misspelt
    unusual_captions    captions that are unlike all others
    picture_neighbours  pictures that look alike and are captioned differently
    analysis            all of it, for `lorapipe tags`, the page of `prepare`, and the tag editor
    analysis_text       the analysis as text for a terminal

Only `picture_neighbours` looks at pictures, by their signatures; the others need the standard library alone.
"""
