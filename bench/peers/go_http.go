// The peer of Go's net/http: a page, and an echo beside it. One processor, as all others have.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
)

const body = "Sixty-four bytes of text, as they are asked for again and again."

func page(answer http.ResponseWriter, _ *http.Request) {
	answer.Header().Set("Content-Type", "text/plain; charset=utf-8")
	answer.Header().Set("Content-Length", strconv.Itoa(len(body)))
	io.WriteString(answer, body)
}

func echo(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			io.Copy(connection, connection)
			connection.Close()
		}()
	}
}

func main() {
	port := flag.Int("port", 0, "where to listen")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		panic(err)
	}
	go echo(listener)
	fmt.Printf("ready %d\n", *port)
	panic(http.ListenAndServe(fmt.Sprintf("127.0.0.2:%d", *port), http.HandlerFunc(page)))
}
