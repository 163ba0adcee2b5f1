"""The tag editor: the captions of a folder in a browser on this machine, `lorapipe tags FOLDER --ui`.

    edited_folder  the folder's pictures and caption files, as the page gets them
    caption_writer writes changed captions, with backups, never over another program's changes
    picture_scan   sizes, copies and likeness of the pictures, found in the background
    thumbnails     small versions of pictures, made once and kept in the user's cache folder
    routes         the responses to paths; the server is `lorapipe.page.server`
    static         the page itself: HTML, CSS and JavaScript, without a build step

The page has the session: what was changed, undone and redone. The server keeps no state but the list of files: a caption
file has a version, the digest of its bytes, and is written only if it still has the version that the page has seen.
"""
