package websocket

import (
	"context"
	"encoding/json"
	"fmt"
)

// WriteJSON sends v as a text message, as [json.Marshal] encodes it. If it cannot be
// encoded, nothing is sent.
func (c *Conn) WriteJSON(ctx context.Context, v any) error {
	p, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("websocket: write: %w", err)
	}
	return c.Write(ctx, Text, p)
}

// ReadJSON reads a message, of either type, and stores it in what v points to, as
// [json.Unmarshal] does. A message that is no JSON, or does not fit, is an error that
// does not end the connection, and the message is lost.
func (c *Conn) ReadJSON(ctx context.Context, v any) error {
	_, p, err := c.Read(ctx)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(p, v); err != nil {
		return fmt.Errorf("websocket: read: a message of %d bytes: %w", len(p), err)
	}
	return nil
}
