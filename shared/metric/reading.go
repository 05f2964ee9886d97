package metric

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// readBy gives the names of the fields of an event, and of its block, that an expression looks at; all is true where it may
// look at any.
func readBy(e ast.Expr) (names map[string]bool, all bool) {
	names = make(map[string]bool)
	mentioned, named := 0, 0
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		if isRecord(e) {
			mentioned++
		}
		if name, ok := namedField(e); ok {
			names[name] = true
			named++
		}
	}))
	return names, mentioned > named
}

// namedField gives the name in event.NAME, has(event.NAME), event["NAME"], and the same of a block.
func namedField(e ast.Expr) (name string, ok bool) {
	if e.Kind() == ast.SelectKind {
		return e.AsSelect().FieldName(), isRecord(e.AsSelect().Operand())
	}
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != operators.Index {
		return "", false
	}
	of, index := e.AsCall().Args()[0], e.AsCall().Args()[1]
	if !isRecord(of) || !isText(index) {
		return "", false
	}
	return string(index.AsLiteral().(types.String)), true
}

// isRecord tells whether an expression is an event or a block, whose names no other variable can have.
func isRecord(e ast.Expr) bool {
	return e.Kind() == ast.IdentKind && (e.AsIdent() == variableEvent || e.AsIdent() == variableBlock)
}
