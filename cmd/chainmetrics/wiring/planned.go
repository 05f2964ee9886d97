package wiring

import "errors"

// Planned reads PingSources that come to a system while it runs: they send to its Brokers, and its Triggers take their events. The
// error names every mistake in them.
func (w *Wiring) Planned(manifests []byte) ([]Schedule, error) {
	objects, err := decode(manifests)
	if err != nil {
		return nil, err
	}
	r := &reader{objects: objects, wiring: Wiring{Triggers: w.Triggers}}
	for _, name := range w.Brokers {
		there := object{kind: broker}
		there.Metadata.Name = name
		r.objects = append(r.objects, there)
	}
	for _, o := range objects {
		if o.kind != pingSource {
			r.wrong(o, "a %s of %s is not carried out here", o.Kind, o.APIVersion)
			continue
		}
		r.schedule(o)
	}
	if len(r.mistakes) == 0 {
		r.findUntaken()
	}
	return r.wiring.Schedules, errors.Join(r.mistakes...)
}
