//! Stories across the modules: a client signs a request, the gatekeeper decides.

mod admission;
mod certificates;
mod client;
mod examples;
mod once;
mod parameters;
mod properties;
mod ranges;
mod redirects;
mod rules;
mod vectors;
