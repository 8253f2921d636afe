mod holes;
mod properties;
mod years;
