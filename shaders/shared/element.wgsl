// element: what tensors hold. Sums are f32.

alias Element = f32;
// Four neighbours that are read or written at once. The first one's index is a multiple of 4.
alias Four = vec4<Element>;
