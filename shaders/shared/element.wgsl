// element: what tensors hold. Sums are f32.

alias Element = f32;
