// element: what tensors hold: f32, or f16 where the host says so. Sums are f32, and so is a tensor that holds some of them for
// a later step.

alias InputElement = f32;  // the tensor at binding 1
alias OutputElement = f32;  // the tensor at binding 5
alias Element = f32;  // the others

// Four neighbours that are read or written at once. The first one's index is a multiple of 4.
alias InputFour = vec4<InputElement>;
alias OutputFour = vec4<OutputElement>;
alias Four = vec4<Element>;
