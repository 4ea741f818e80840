//! An image file becomes a directory.
