import "uplot/dist/uPlot.min.css";
import "../app.css";
import { mount } from "svelte";
import { board } from "./board.svelte";
import Page from "./Page.svelte";

board.start();
const target = document.getElementById("app");
if (target) mount(Page, { target });
