//! The segmenter as a whole, on synthetic units: what goes in and when, what comes out and when.

mod audio;
mod cuts;
mod encoded;
mod hostile;
mod properties;
mod seams;
mod stream;
