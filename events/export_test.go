package events

// DecodeJSON lets FuzzJSON compare the decoder with that of encoding/json.
func DecodeJSON(text string) (any, error) { return decodeJSON(text) }
