// Package netpoll lets many idle connections wait in few goroutines: a [Poller]
// around epoll, and two ways to use a connection of package net with it or beside
// it, [Socket] and [Blocking].
//
// # Who owns a descriptor
//
// A descriptor is a small number that the kernel gives out again as soon as it is
// closed. Whoever closes one while another goroutine is about to use it makes that
// goroutine read from, or write into, a stranger's connection. So each descriptor
// has one owner, who alone closes it, and nobody uses its number but while the
// owner is sure not to close it:
//
//   - A [Socket] owns its descriptor. [Take] duplicates the one of a *net.TCPConn
//     and closes the *net.TCPConn, so that the duplicate is the only one left.
//     Each method holds a reference during its system call; the descriptor is
//     closed by the one who drops the last reference after Close, which is Close
//     itself if no other method is under way.
//   - A [Blocking] owns nothing: the net.Conn below it does, and keeps it open
//     during the callbacks of its syscall.RawConn. Its number is used nowhere else.
//   - A [Poller] owns the two descriptors of its own, and none of those that are
//     added to it. Whoever calls [Poller.Add], [Poller.AddOnce] or [Poller.Rearm]
//     vouches that the descriptor stays open during the call: do it within
//     [Socket.Control], or within the Control of a syscall.RawConn. The Poller does
//     not keep the number.
//
// # Who gets an event
//
// The kernel hands back with an event what was registered with it. That is never
// the descriptor: an event that waits to be handled may be of a connection that
// has been closed since, and its number that of another. It is a [Token], a slot
// in the Poller's table together with the slot's generation, which changes when
// the slot is freed. An event whose generation is not the slot's own is dropped.
//
// The kernel takes a descriptor out of its list when it is closed, without an
// event. So the end of a registration has two halves, in either order: the owner
// closes the descriptor, and somebody calls [Poller.Remove]. Without the first,
// the kernel's entry stays and its events are dropped; without the second, the
// slot stays.
//
// The race detector sees no connection between a change made before a descriptor
// is registered and the goroutine that gets its event. The Poller's mutex makes
// one: Add, AddOnce and Rearm take it before the kernel is called, and Wait after.
//
// All of it exists on Linux. Elsewhere [Supported] is false and the constructors
// of Poller and Socket return errors.ErrUnsupported; Blocking exists on all Unix
// systems.
package netpoll
