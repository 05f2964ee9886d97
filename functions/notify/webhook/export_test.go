package webhook

// Sign is for the example of the specification.
var Sign = sign
